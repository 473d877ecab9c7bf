export {default as Asset} from './asset';
export * from './types';
