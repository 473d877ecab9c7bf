import {type Contract} from 'fabric-contract-api';
import {BondContract} from './bondContract';

export {BondContract} from './bondContract';

export const contracts: (typeof Contract)[] = [BondContract];
