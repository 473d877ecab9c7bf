import type {Contract} from 'fabric-contract-api';
import {Ledger, Registry} from './contracts';

export {named} from './contracts';

export const contracts: Array<new () => Contract> = [Ledger, Registry];
